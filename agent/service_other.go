//go:build !windows

package main

// underManager runs the program for a service manager that speaks to it; systemd's signals need none.
func underManager([]string) (int, bool) { return 0, false }
