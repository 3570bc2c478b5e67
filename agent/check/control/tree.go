package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// A tree reads the values of a Linux system from its files.
type tree struct {
	root   fs.FS                                        // the root folder
	zone   *time.Location                               // in which apt writes its history
	chains func(context.Context) ([]nftChain, error)    // the firewall's rules in force; nil where they cannot be asked for
	adjust func() (kernelClock, error)                  // the kernel's clock; nil where it cannot be asked
	device func(path string) (device uint64, err error) // the file system that a path of this machine is on
}

// system is what the readers of a tree offer.
func (t tree) system() system {
	return system{
		firewall: t.firewall, patches: t.patches, listeners: t.listeners, accounts: t.accounts, clock: t.clock,
		backups: t.backups, hosts: t.hosts, resolvers: t.resolvers,
		protection: t.protection, patterns: t.patterns, release: t.release, oldProtocols: t.oldProtocols, remotes: t.remotes,
		encryption: t.encryption, logs: t.logs, trust: t.trust, passwords: t.passwords,
		edr: t.edr, forwarders: t.forwarders, idlers: t.idlers, locking: t.locking, autorun: t.autorun, software: t.software, upkeep: t.upkeep,
	}
}

const (
	maxFile  = 1 << 20 // of a file of settings
	maxTable = 8 << 20 // of a table in /proc/net
	maxDir   = 65536   // entries of a folder that is listed
)

// open opens a regular file. What is not one, a named pipe for example, could block for ever.
func (t *tree) open(name string) (fs.File, error) {
	i, err := fs.Stat(t.root, name)
	if err != nil {
		return nil, err
	}
	if !i.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", errors.ErrUnsupported)
	}
	return t.root.Open(name)
}

// read returns a file of at most limit bytes. A larger one is an error.
func (t *tree) read(name string, limit int64) ([]byte, error) {
	f, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d bytes: %w", limit, errors.ErrUnsupported)
	}
	return b, err
}

// text returns a file of settings; "" when it is not there.
func (t *tree) text(name string) (string, error) {
	b, err := t.read(name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

// list returns the names in a folder in alphabetical order; none when it is not there.
func (t *tree) list(name string) ([]string, error) {
	entries, err := readDir(t.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return slices.Sorted(slices.Values(names)), err
}

// readDir lists a folder of at most maxDir entries.
func readDir(root fs.FS, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, fmt.Errorf("not a folder: %w", errors.ErrUnsupported)
	}
	entries, err := d.ReadDir(maxDir)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}

// has reports whether a folder lists a name, without following what the name may link to.
func (t *tree) has(dir, name string) bool {
	names, err := t.list(dir)
	return err == nil && slices.Contains(names, name)
}

// startsWithSystem reports whether systemd starts a service with the system.
func (t *tree) startsWithSystem(service string) bool {
	for _, target := range []string{"multi-user", "sysinit", "basic", "network", "network-pre", "default", "graphical"} {
		if t.has(path.Join("etc/systemd/system", target+".target.wants"), service+".service") {
			return true
		}
	}
	return false
}

// running returns how many processes have each of the names, as the kernel knows them (15 letters). An error says that
// processes of others are hidden.
func (t *tree) running(names ...string) (map[string]int, error) {
	pids, err := t.list("proc")
	if err != nil {
		return nil, fmt.Errorf("the list of processes: %w", bare(err))
	}
	if _, err := t.read("proc/1/comm", 64); err != nil {
		return nil, fmt.Errorf("processes of other accounts: %w", bare(err))
	}
	found := map[string]int{}
	for _, pid := range pids {
		if pid[0] < '0' || pid[0] > '9' {
			continue
		}
		b, err := t.read(path.Join("proc", pid, "comm"), 64)
		if err != nil {
			continue // it has ended meanwhile
		}
		if name := strings.TrimSpace(string(b)); slices.Contains(names, name) {
			found[name]++
		}
	}
	return found, nil
}

// settings yields the lines of a text without comments and without space around them.
func settings(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		s := bufio.NewScanner(strings.NewReader(text))
		s.Buffer(nil, maxFile)
		for s.Scan() {
			line, _, _ := strings.Cut(s.Text(), "#")
			if line = strings.TrimSpace(line); line != "" && line[0] != ';' && !yield(line) {
				return
			}
		}
	}
}

// setting returns the last value of KEY=value in a text, without quotes, as shells and INI files have it.
func setting(text, key string) (value string) {
	for line := range settings(text) {
		if k, v, ok := strings.Cut(line, "="); ok && strings.EqualFold(strings.TrimSpace(k), key) {
			value = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return value
}
