// Package plan says what one machine is to check, and when.
//
// [Parse] reads the YAML of a plan strictly and reports every mistake at once, each with its line and a hint; nothing
// later validates again. [Slots] lists the instants at which a check is due, from the plan alone, so that the agent
// that runs them and the auditor who counts them agree. The package judges values: it reads no file and no clock.
package plan
