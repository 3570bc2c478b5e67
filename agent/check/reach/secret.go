package reach

import (
	"errors"
	"fmt"
	"strings"

	"egovmon/agent/check"
)

// Secret reads a secret of this machine by the name in the plan; an empty one is an error.
func Secret(env check.Env, name string) (string, error) {
	if env.Secret == nil {
		return "", fmt.Errorf("secret %q: this program has no secrets", name)
	}
	s, err := env.Secret(name)
	if err != nil {
		return "", fmt.Errorf("secret %q: %w", name, err)
	}
	if s = strings.TrimRight(s, "\r\n"); s == "" {
		return "", errors.New("secret \"" + name + "\" is empty: put its value into the secrets folder")
	}
	return s, nil
}
