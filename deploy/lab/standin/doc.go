// Package standin is the lab's quick scenery: portals, a resolver and printers that are a few goroutines in the lab's own
// program, so that a lab is up in seconds and needs no Debian package. Where the real servers run (deploy/lab/servers),
// they take these places.
package standin
