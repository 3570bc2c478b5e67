// Program lab is a district in a box: a small Tứ Kỳ on one Linux machine, with real agents and a real collector, in which
// faults can be brought about whose true cause is known.
package main
