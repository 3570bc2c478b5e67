// Package host is what an agent has of its machine: where its data lies, who it is to the collector (the [Identity]
// that enrolment gave it) and the secrets that a plan names.
//
// How it enrols is in push; which gateway and lines the machine has is the kinds' own business.
package host
