//go:build unix

package main

import "syscall"

// keepPrivate keeps whatever the program makes, also in libraries that ask for wider modes, from everybody but its owner.
func keepPrivate() { syscall.Umask(0o077) }
