// Package enrol is the identity of machines: the district's own [Keys] with its certificate authority, the tokens by
// which a machine enrols once, and the [Registrar] that issues certificates, records every key of an agent in the log
// before it is of any use, and knows which of them are valid now.
//
// What the registrar knows of machines is made from the leaves of the log; a file beside it only saves reading them all
// at each start. Tokens alone live outside the log, with their secrets hashed.
package enrol
