// Package figures measures what an agent costs: processor time beside a bare Go loop, memory, and how soon the first
// result is recorded. It has tests only, which print figures when they are asked to and otherwise do next to nothing:
//
//	go test ./agent/figures -figures -v -timeout 20m
//
// Servers, bare loop and agent are processes of their own, so that each pays for itself alone. With -short the long
// measurements (idle, memory) take 10 s in place of 70.
package figures
