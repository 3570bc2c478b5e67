// Package push speaks to the collector for one agent: it enrols the machine ([Enrol], [Renew]), sends what the journal
// has sealed, fetches plans, and checks what the collector says against the keys that the machine was enrolled with
// ([Pusher]).
//
// What it sends is in journal, the messages in wire, the identity in host.
package push
