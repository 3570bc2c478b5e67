// Package control holds the kind of check "control": the measured controls of the model "4 lớp" that this machine can
// judge of itself, one by each check (option id).
//
// A control is two things kept apart. A reader fills a value (the firewall's rules, who may administer, which ports
// listen) from /proc, /sys and /etc, from the kernel by netlink, or from the registry; it runs no program and changes
// nothing. A pure function judges the value by the limits in the plan. What a reader may not see is no_permission, what
// this system does not offer is not_supported: neither is ever a pass.
//
// Results hold counts and flags: no names of users, files or programs.
//
// Readers of Linux take the tree they read as an fs.FS, readers of Windows take the registry as an interface, so that
// both are tested against recorded states on any system.
package control

import "egovmon/agent/check"

// Kinds lists the kinds of this family.
func Kinds() check.Table { return check.Table{controlKind()} }
