// Package servers runs the servers that an e-government desk talks to, each in a Place: portals behind nginx, names on BIND
// and Unbound, mail on Postfix and Dovecot, time on chrony, certificates, revocation and time stamps by OpenSSL, series and
// alerts in Prometheus, VictoriaMetrics and Alertmanager, and small programs of our own where no package exists. Each can be put
// into the states in which its users meet it: well, and broken in one way that is known.
//
// A constructor returns once its server answers, and leaves nothing running when it fails. A method that brings a fault about
// (or takes it away) returns once a client sees it; it may be called twice. What a server writes lies in its Place's folder.
// Programs end with their context, with Stop, and with the program that started them.
package servers
