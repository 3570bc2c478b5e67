package control

import "egovmon/agent/check"

func facts() []check.FactDef {
	const century = 100 * 365 * 86400
	count := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: 1e6} }
	yes := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: 1} }
	age := func(name, help string) check.FactDef { return check.FactDef{Name: name, Help: help, Max: century} }
	return []check.FactDef{
		count("firewall_scopes_count", "m04: what must be closed to the outside: IPv4, and IPv6 where the machine has an address; profiles on Windows"),
		count("firewall_closed_count", "m04: of them closed"),
		yes("firewall_rules_code", "m04: 1 the rules in force were read, 0 the configuration"),
		age("age_s", "m02: since the signatures were last brought; m05: since packages were last upgraded; m12: since an administrator last changed a password, the longest ago; m16: since the clock was last set by its source; m20: since the newest backup was written"),
		age("lists_age_s", "m05: since the lists of available packages were last fetched"),
		yes("reboot_pending_code", "m05: 1 a restart is needed to put patches into force"),
		count("antimalware_count", "m01: programs against malware that run"),
		{Name: "support_end_unix", Help: "m06: the last day on which the operating system is supported", Min: 0, Max: 1 << 40},
		count("old_protocols_count", "m08: of Telnet, FTP, SMBv1 and LLMNR, those that are on"),
		count("remote_tools_count", "m09: programs that control this machine from elsewhere and run; Remote Desktop counts as one"),
		count("remote_unexpected_count", "m09: of them not allowed"),
		yes("ssh_listens_code", "m09: 1 an SSH server listens on addresses other than loopback"),
		yes("ssh_password_code", "m09: 1 it lets people in by password alone"),
		yes("ssh_root_code", "m09: 1 it lets root in by password"),
		yes("encrypted_code", "m15: 1 the system's disk is encrypted"),
		age("log_reach_s", "m17: since the oldest entry of the log that is kept"),
		{Name: "log_bytes", Help: "m17: size of the log", Max: 1 << 53},
		count("password_length_count", "m12: letters of the shortest password that is taken"),
		count("empty_passwords_count", "m12: administrators who need no password"),
		count("added_roots_count", "m22: root certificates that were added to those of the system"),
		count("unexpected_roots_count", "m22: of them not allowed"),
		count("proxies_count", "m22: proxies that all programs are told to use"),
		count("unexpected_proxies_count", "m22: of them not allowed"),
		count("listening_count", "m07: ports that listen on addresses other than loopback"),
		count("unexpected_count", "m07: of them not allowed"),
		{Name: "unexpected_port_code", Help: "m07: the lowest port that is not allowed", Max: 65535},
		count("administrators_count", "m10: accounts that may administer"),
		count("uid0_count", "m10: accounts with user number 0; on Windows not given"),
		count("passwordless_count", "m10: rules that let someone do everything by sudo without a password"),
		count("autologon_count", "m10: places that log someone on without asking"),
		yes("synchronised_code", "m16: 1 the clock follows a source"),
		{Name: "offset_s", Help: "m16: how far the clock is from its source, as the system estimates it", Min: -1e9, Max: 1e9},
		{Name: "max_error_s", Help: "m16: the most that the clock may be wrong, as the system estimates it", Max: 1e9},
		count("time_services_count", "m16: services that set the clock and run"),
		count("backups_count", "m20: files found"),
		{Name: "backup_bytes", Help: "m20: size of the newest", Max: 1 << 53},
		{Name: "backup_size_ratio", Help: "m20: size of the newest against the one before", Max: 1e9},
		yes("same_device_code", "m20: 1 the backup is on the file system of the data"),
		count("hosts_entries_count", "m21: names that the hosts file sets"),
		count("hosts_watched_count", "m21: of them below the watched domains"),
		count("hosts_unexpected_count", "m21: of those not allowed"),
		{Name: "hosts_hash_serial", Help: "m21: the first 48 bits of the hosts file's SHA-256, which shows a change", Max: 1 << 48},
		count("resolvers_count", "m21: resolvers that the machine uses"),
		count("resolvers_unexpected_count", "m21: of them not allowed"),
	}
}
