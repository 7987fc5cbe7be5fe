package main

// sshCommon asks the SSH server for all settings in force, as sshd.conf(5) names them in small letters.
const sshCommon = `
settings=$(/usr/sbin/sshd -T)
effective() { printf '%s\n' "$settings" | sed -n "s/^$1 //p"; }`

// effective is a control of one setting in force.
func effective(setting, want string) control {
	return control{id: setting, ask: "effective " + setting, want: want}
}

// anyOf is a list of any of these, joined by commas; fewer are stricter.
func anyOf(names string) string { return `(?:` + names + `)(?:,(?:` + names + `))*` }

// sshControls are the values of dev-sec's SSH baseline for the server. Of its message authentication codes only those
// that encrypt first are taken, as ssh-audit has it; curve25519-sha256 is the later name of the key exchange with
// libssh.org in its name. The time that a dead client is waited for may be shorter.
var sshControls = []control{
	effective(
		"ciphers",
		anyOf(
			`chacha20-poly1305@openssh\.com|aes256-gcm@openssh\.com|aes128-gcm@openssh\.com|aes256-ctr|aes192-ctr|`+
				`aes128-ctr`,
		),
	),
	effective(
		"kexalgorithms",
		anyOf(
			`sntrup761x25519-sha512@openssh\.com|curve25519-sha256|curve25519-sha256@libssh\.org|`+
				`diffie-hellman-group-exchange-sha256`,
		),
	),
	effective("macs", anyOf(`hmac-sha2-512-etm@openssh\.com|hmac-sha2-256-etm@openssh\.com|umac-128-etm@openssh\.com`)),
	effective("hostkey", `/etc/ssh/ssh_host_(rsa|ecdsa|ed25519)_key(\n/etc/ssh/ssh_host_(rsa|ecdsa|ed25519)_key)*`),
	{"mode of /etc/ssh", `stat -c "%U:%G %a" /etc/ssh`, `root:root 755`},
	{"mode of sshd_config", `stat -c "%U:%G %a" /etc/ssh/sshd_config`, `root:root 600`},
	{"modes of private keys", `stat -c "%U %a" /etc/ssh/ssh_host_*_key | sort -u`, `root 600`},
	{
		"sizes of RSA keys",
		`for k in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf "$k"; done | awk "/RSA/ {print \$1}" | sort -u`,
		`((3072|4096|8192)(\n(3072|4096|8192))*)?`,
	},
	{"weak moduli", `awk '!/^#/ && $5 < 2047' /etc/ssh/moduli`, ``},
	effective("port", `22`),
	effective("addressfamily", `any|inet|inet6`),
	effective("listenaddress", `\S+(\n\S+)*`),
	effective("permitrootlogin", `no|prohibit-password|without-password`),
	effective("strictmodes", `yes`),
	effective("ignorerhosts", `yes`),
	effective("ignoreuserknownhosts", `yes`),
	effective("pubkeyauthentication", `yes`),
	effective("passwordauthentication", `no`),
	effective("kbdinteractiveauthentication", `no`),
	effective("permitemptypasswords", `no`),
	effective("hostbasedauthentication", `no`),
	effective("kerberosauthentication", `no`),
	effective("gssapiauthentication", `no`),
	effective("syslogfacility", `AUTH`),
	effective("loglevel", `VERBOSE`),
	effective("logingracetime", `30`),
	effective("maxauthtries", `2`),
	effective("maxsessions", `10`),
	effective("maxstartups", `10:30:60`),
	effective("permituserenvironment", `no`),
	effective("tcpkeepalive", `no`),
	effective("clientaliveinterval", `300`),
	effective("clientalivecountmax", `[123]`),
	effective("permittunnel", `no`),
	effective("allowtcpforwarding", `no`),
	effective("allowagentforwarding", `no`),
	effective("gatewayports", `no`),
	effective("x11forwarding", `no`),
	effective("printmotd", `no`),
	effective("printlastlog", `no`),
	effective("debianbanner", `no`),
	effective("banner", `none`),
}
