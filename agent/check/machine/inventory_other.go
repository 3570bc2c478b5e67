//go:build !linux && !windows

package machine

import (
	"context"
	"errors"
)

func readAsset(context.Context) (asset, error) {
	return asset{}, errors.New("this operating system has no reader for it")
}
