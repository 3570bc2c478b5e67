// Package alerttest runs real mail servers for tests of what is told by mail, and of mail itself.
package alerttest
