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
// # Once
//
// What to send is a pure function of the time, the incidents, the profile and the record of what was sent ([Plan]). The
// record is one small file a message, written and synced before the first attempt and after each one. A message whose
// delivery was confirmed is never sent again; one that was under way when the process was killed is sent again under
// the same name (Message-ID, Egovmon-Delivery), because nobody can know whether it arrived.
package alert
