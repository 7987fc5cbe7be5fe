package main

import (
	"slices"
	"testing"
)

func TestParseSSHAudit(t *testing.T) {
	const out = `(gen) banner: SSH-2.0-OpenSSH_10.0p2
(gen) software: OpenSSH 10.0p2
(cve) CVE-2018-15473 -- (CVSSv2: 5.3) enumerate usernames due to timing discrepencies
(cve) CVE-2000-0525 -- (CVSSv2: 10.0) execute arbitrary code (improper privileges)
(kex) curve25519-sha256 -- [info] available since OpenSSH 7.4, Dropbear SSH 2018.76
(kex) kex-strict-s-v00@openssh.com -- [warn] unknown algorithm
(key) rsa-sha2-512 (3072-bit) -- [info] available since OpenSSH 7.2
(key) ssh-rsa (1024-bit) -- [fail] using small 1024-bit modulus
(mac) umac-64@openssh.com -- [warn] using encrypt-and-MAC mode
                         ` + "`- [warn] using small 64-bit tag size" + `
                         ` + "`- [info] available since OpenSSH 4.7" + `
`
	software, found, err := parseSSHAudit(out)
	if err != nil || software != "OpenSSH 10.0p2" {
		t.Fatalf("software %q, %v", software, err)
	}
	want := []finding{
		{"kex kex-strict-s-v00@openssh.com", "warn: unknown algorithm"},
		{"key ssh-rsa", "fail: using small 1024-bit modulus"},
		{"mac umac-64@openssh.com", "warn: using encrypt-and-MAC mode"},
		{"mac umac-64@openssh.com", "warn: using small 64-bit tag size"},
		{"vulnerabilities of OpenSSH 10.0p2", "CVE-2018-15473 CVE-2000-0525"},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got %q", found)
	}
	for _, none := range []string{
		"", "[exception] cannot connect to 127.0.0.1 port 22", "(gen) software: OpenSSH 10.0p2\n",
	} {
		if _, _, err := parseSSHAudit(none); err == nil {
			t.Errorf("%q is taken for a judgement", none)
		}
	}
}
