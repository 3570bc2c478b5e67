//go:build !linux && !windows

package network

// openProber knows no way to see hops on this system.
func openProber(proberOptions, chan<- answer) (prober, error) { return nil, errNoTrace }
