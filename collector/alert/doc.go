// Package alert tells people of incidents: whom, when, by which channel, in which words. What an incident is, and when
// it opens and closes, is for package incident.
//
// # Who and when
//
// The office that owns a service is told, and who is on duty by the first step of the roster; an incident that nobody
// acknowledges goes on to the next steps. A critical service is told of at once at any hour; the others within office
// hours at once, over a break when it ends, and else in the digest at 07:30 of the next working day. Every address gets
// one message for an incident, one for each step of the roster that it is on, and one all-clear if it was told before.
//
// # By what
//
// A channel declares the services that it depends on. While one of them is down, no message goes by that channel: another
// address of the same people is used, else the next step of the roster.
//
// What is critical goes by two channels that no single service takes away together: another contact of the same people,
// the modem for a number that a gateway serves, or the first such contact of the next steps; when there is none, that is
// logged as an error. Programs (Alertmanager, a siren) are told at once besides, and count for nobody. An address gets so
// many messages in an hour; what comes then gathers into one, but never what is critical. Once a week each address gets a
// message that its channel works.
//
// # Once
//
// What to send is a pure function of the time, the incidents, the profile and the record of what was sent ([Plan]). The
// record is one small file a message, written and synced before the first attempt and after each one. A message whose
// delivery was confirmed is never sent again; one that was under way when the process was killed is sent again under
// the same name (Message-ID, Egovmon-Delivery), because nobody can know whether it arrived.
//
// # Why not Alertmanager's engine
//
// Its packages run in a process of their own well. What they keep is grouped notifications of alerts that are repeated
// while they fire. Here an incident has one opening, steps of a roster that wait for a person's acknowledgement (which
// Alertmanager does not know), office hours from the district's calendar with holidays and make-up days, channels that
// are left out because of what is broken now, and one all-clear to exactly those who were told; each delivery must be
// provable after a kill. Silences and inhibition are what it would bring, and both stand elsewhere already: suspensions
// are announced in the profile, and one cause is one incident before it comes here. So its engine is not used; who runs
// an Alertmanager is served by its API (alertmanager), and by the rules and routes in deploy/prometheus.
package alert
