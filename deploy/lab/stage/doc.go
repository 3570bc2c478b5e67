// Package stage is the lab as it runs: it makes the network, starts servers, the collector and the agents, brings faults
// about, keeps a transcript of what happened, and takes everything away again, also after a crash. What the network looks
// like is the town's affair, what can be broken the fault catalogue's.
package stage
