// Package control is how one program tells another one's lab what to do: HTTP and JSON over a socket in the lab's folder,
// which only its owner can open.
package control
