// Package daemon wires the rooms of one agent: its identity, journal, scheduler and pusher, and what it shows of itself.
// The program agent runs one; the collector has one built in, for its own machine.
package daemon
