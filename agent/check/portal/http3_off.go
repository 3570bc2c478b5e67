//go:build !http3

package portal

import (
	"context"
	"net/http"
	"net/url"

	"egovmon/agent/check"
)

// exchange3 says that this agent was built without HTTP/3, which would make it larger by some megabytes.
func (f *fetch) exchange3(context.Context, *url.URL, *http.Request) (*url.URL, *fault) {
	return nil, &fault{check.NotSupported, "this agent speaks no HTTP/3: build one with -tags http3"}
}
