// Package verdict says what is broken now, of what the services' votes show: which service as a whole, which unit's line,
// or everything at once, and which of these another one explains. It judges values: time is passed in, nothing is read
// or kept. How long a fault must last before it counts, and what becomes of it, is for the incident; accounts stay with
// rule votes/1 and take nothing from here.
package verdict
