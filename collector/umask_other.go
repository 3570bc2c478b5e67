//go:build !unix

package main

// keepPrivate does nothing here: the state folder hands its access list on to what is made in it.
func keepPrivate() {}
