// Package profile knows the district as dated data: its units, services, machines, lines, offices, duty roster,
// targets, law, parameters and calendars.
//
// [Load] reads the YAML files of one profile strictly and reports every mistake at once; what it returns holds no
// dangling reference and is never edited. Everything else is a pure function of that value and a time: what a unit was
// called on a date, which services were offered, when an hour counted as a service hour, what one machine is told to
// check and why. Nothing here opens a file or a socket, or reads a clock.
package profile
