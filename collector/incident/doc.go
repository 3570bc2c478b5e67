// Package incident keeps the life of incidents: one is opened for one fault, acknowledged by a person, and closed when
// the fault is over. What is broken and what explains it comes from the verdict; whom to tell is for the alert.
//
// # Life
//
// A fault opens an incident once two slots in a row have shown it, and ends it once two slots in a row are up or degraded;
// of a unit that has fallen silent, once nothing has come for a while. Unknown never opens an incident that says "down",
// and never closes one. Only results of now count: late ones change figures and open nothing. What is suppressed, because
// something else explains it, is the opening, never the closing. A fault that comes back within the hour has to stay away
// longer each time before its incident is closed.
//
// # Evidence
//
// Every event is a leaf of type incident, and every acknowledgement one of type acknowledgement, written before anybody
// can see the event; the state is nothing but what these leaves add up to:
//
//	egovmon-leaf/1 incident
//	at 2026-11-23T03:01:04.000Z
//	event opened
//	id 20261123-100104-service-mail
//	kind service
//	reason connect_refused
//	rule incident/2
//	service mail
//	since 2026-11-23T03:00:03Z
//	state down
//	units xa-dai-son xa-van-to
//	votes up=0 down=2 unknown=1
//	why first
package incident
