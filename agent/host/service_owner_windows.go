package host

import "os"

// keepOwner does nothing: the folder's access list is inherited.
func keepOwner(*os.File, string) error { return nil }
