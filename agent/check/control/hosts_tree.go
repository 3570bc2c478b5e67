package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
)

// hosts reads hosts(5).
func (t *tree) hosts(ctx context.Context, watched []string) (hosts, error) {
	return readHosts(ctx, t, "etc/hosts", watched)
}

func readHosts(ctx context.Context, t *tree, name string, watched []string) (hosts, error) {
	f, err := t.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return hosts{absent: true}, nil
	}
	if err != nil {
		return hosts{}, fmt.Errorf("the hosts file: %w", bare(err))
	}
	defer f.Close()
	return scanHosts(ctx, f, watched)
}

// resolvers reads resolv.conf(5). A system without it asks itself.
func (t *tree) resolvers(context.Context) ([]string, error) {
	text, err := t.text("etc/resolv.conf")
	if err != nil {
		return nil, bare(err)
	}
	list := []string{}
	for line := range settings(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			if a, err := netip.ParseAddr(f[1]); err == nil {
				list = append(list, a.Unmap().WithZone("").String())
			}
		}
	}
	return list, nil
}
