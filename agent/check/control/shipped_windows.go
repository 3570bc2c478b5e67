package control

import _ "embed"

// shippedRoots is SHA-1 of Microsoft's own roots, and of old ones for time stamps, that come with Windows 7 to 11 and Server
// 2016 to 2022 as Cert:\LocalMachine\Root lists them (as of July 2026), one a line. Those of others come by Microsoft's list.
//
//go:embed shipped_windows.txt
var shippedRoots string
