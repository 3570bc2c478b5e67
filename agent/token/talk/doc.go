// Package talk is what the agent and its helper program egovmon-token say to one another, and how the agent runs the
// helper: a child process that may hang, crash or print without end, since it loads the drivers of signing tokens, which
// do all three.
//
// Each message is one line of JSON of at most [MaxLine] bytes. The agent begins with a [Request]; what follows depends on
// its command:
//
//	list     Request → Answer{List}
//	readers  Request → Answer{Readers}
//	sign     Request → Answer{Opened} → Next{Proceed} → Answer{Signed} → Next{Complete} → Answer{Done}
//
// An Answer with an Error ends the conversation, and so does the end of the helper's input: it leaves then, whatever it is
// at. A PIN is only in Next.Proceed: it is on the way once the token was seen to be safe to log in to, and never stands in
// arguments, in the environment, in a file or in a log.
package talk
