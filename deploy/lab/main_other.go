//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "lab: phòng thử cần Linux (network namespaces). / The lab needs Linux.")
	os.Exit(2)
}
