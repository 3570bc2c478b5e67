// Package drill has the scenarios of a drill ("diễn tập") and writes its draft minutes. It is data and judgement: who
// plays a scenario, and where the events come from, is for others.
package drill
