// Package nomad holds the jobs by which Nomad runs the programs; its tests read them.
package nomad
