package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plants are faults, by the item that must find each: a path, and what is written there.
var plants = map[string]map[string]string{
	"ssh host keys": {"/etc/ssh/ssh_host_ed25519_key": "key", "/etc/ssh/ssh_host_rsa_key.pub": "key"},
	"machine-id": {
		"/etc/machine-id":          "0123456789abcdef0123456789abcdef\n",
		"/var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
	},
	"authorized keys": {
		"/root/.ssh/authorized_keys":        "ssh-ed25519 AAAA",
		"/home/admin/.ssh/authorized_keys2": "ssh-ed25519 AAAA",
		"/srv/app/.ssh/id_ed25519":          "key",
	},
	"cloud-init state": {
		"/var/lib/cloud/instances/i-1/user-data.txt": "password",
		"/etc/sudoers.d/90-cloud-init-users":         "admin ALL=(ALL) NOPASSWD:ALL",
		"/etc/ssh/sshd_config.d/50-cloud-init.conf":  "x",
		"/etc/netplan/50-cloud-init.yaml":            "x",
	},
	"random seed":               {"/var/lib/systemd/random-seed": "random"},
	"systemd credential secret": {"/var/lib/systemd/credential.secret": "secret"},
	"logs and journals": {
		"/var/log/auth.log":                    "x",
		"/var/log/journal/0123/system.journal": "x",
		"/var/log/mysql/error.log":             "x",
		"/var/log/wtmp":                        "x",
		"/var/log/cloud-init-output.log":       "x",
	},
	"core dumps": {
		"/var/lib/systemd/coredump/core.mysqld.zst": "memory",
		"/var/crash/app.crash":                      "memory",
		"/core.1234":                                "memory",
	},
	"DHCP leases": {
		"/var/lib/dhcp/dhclient.eth0.leases":        "lease",
		"/etc/udev/rules.d/70-persistent-net.rules": "mac",
	},
	"histories": {
		"/root/.bash_history":        "mysql -psecret",
		"/home/admin/.mysql_history": "CREATE USER",
		"/root/.lesshst":             "x",
		"/home/admin/.viminfo":       "x",
	},
	"credentials of people and tools": {
		"/root/.my.cnf":                "password=x",
		"/home/admin/.aws/credentials": "x",
		"/root/.netrc":                 "x",
	},
	"caches": {"/root/.cache/x": "x"},
	"apt lists and caches": {
		"/var/lib/apt/lists/deb_Packages": "x",
		"/var/cache/apt/archives/a.deb":   "x",
		"/var/cache/apt/pkgcache.bin":     "x",
	},
	"debconf passwords":   {"/var/cache/debconf/passwords.dat": "x"},
	"backups of accounts": {"/etc/shadow-": "x", "/var/backups/passwd.bak": "x"},
	"password hashes":     {"/etc/shadow": "root:*:1::::::\nadmin:$y$j9T$hash:1::::::\n"},
	"MySQL's identity and keys": {
		"/var/lib/mysql/auto.cnf":       "server-uuid=x",
		"/var/lib/mysql/server-key.pem": "key",
	},
	"MySQL's logs of the build": {"/var/lib/mysql/binlog.000001": "x", "/var/lib/mysql/host.err": "x"},
	"debian.cnf password": {
		"/etc/mysql/debian.cnf": "[client]\nuser = debian-sys-maint\npassword = x9Y8z7\n",
	},
	"snakeoil keys":         {"/etc/ssl/private/ssl-cert-snakeoil.key": "key"},
	"agents' registrations": {"/var/lib/amazon/ssm/Vault/Store/RegistrationKey": "x"},
	"snapd's identity": {
		"/var/lib/snapd/device/private-keys-v1/6wzBaV0h":                                      "key",
		"/var/lib/snapd/assertions/asserts-v0/serial/generic/generic-classic/e58abe3f/active": "type: serial\n",
		"/var/lib/snapd/state.json": `{"data":{"auth":{"last-id":1,"users":[{"id":1,"macaroon":"x"}],"device":{` +
			`"brand":"generic","model":"generic-classic","serial":"e58abe3f","key-id":"6wzBaV0h",` +
			`"session-macaroon":"AgEQ"},"macaroon-key":"eA=="},"refresh-privacy-key":"abc"},"changes":{},"tasks":{}}`,
	},
	"temporary files": {"/tmp/bundle.tar": "x", "/var/tmp/.hidden": "x"},
	"the build's leftovers": {
		"/home/admin/.goldsmith-agent-0123456789ab/agent": "x",
		"/var/lib/goldsmith/tls/web.key":                  "key",
		"/home/admin/script_1234.sh":                      "x",
	},
}

// notMended are items that a seal does not put right by itself.
var notMended = map[string]bool{"password hashes": true}

func TestEveryItemFindsItsFault(t *testing.T) {
	for _, item := range hygiene {
		if len(plants[item.name]) == 0 {
			t.Errorf("%s: no fault is planted for it", item.name)
		}
		for path, content := range plants[item.name] {
			t.Run(item.name+path, func(t *testing.T) {
				root := system(t)
				write(t, root, path, content)
				faults, err := check(root, nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(faults) == 0 || faults[0].Item != item.name {
					t.Fatalf("found %v, want %q at %s", faults, item.name, path)
				}
				if err = clean(root, nil); err != nil {
					t.Fatal(err)
				}
				if faults, err = check(root, nil); err != nil || len(faults) > 0 && !notMended[item.name] {
					t.Errorf("after cleaning: %v, %v", faults, err)
				}
			})
		}
	}
}

// system is a file system in which nothing is wrong.
func system(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(
		t,
		root,
		"/etc/passwd",
		"root:x:0:0::/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n"+
			"app:x:100:100::/srv/app:/usr/sbin/nologin\n",
	)
	write(t, root, "/etc/shadow", "root:*:1::::::\nadmin:!:1::::::\napp:!*:1::::::\n")
	write(t, root, "/etc/machine-id", "")
	for _, dir := range []string{"/var/log/mysql", "/home/admin", "/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if faults, err := check(root, nil); err != nil || len(faults) > 0 {
		t.Fatalf("in a system without a fault: %v, %v", faults, err)
	}
	return root
}

func write(t *testing.T, root, path, content string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMissingMachineID(t *testing.T) {
	root := system(t)
	os.Remove(filepath.Join(root, "/etc/machine-id"))
	if faults, err := check(root, nil); err != nil || len(faults) != 1 {
		t.Errorf("a missing machine-id makes systemd enable what is disabled: %v, %v", faults, err)
	}
}

func TestCleanKeeps(t *testing.T) {
	root := system(t)
	write(t, root, "/root/.cache/model/weights", "x")
	write(t, root, "/root/.cache/pip", "x")
	keep := []string{"/root/.cache"}
	if err := clean(root, keep); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "/root/.cache/model/weights")); err != nil {
		t.Error(err)
	}
	if faults, err := check(root, keep); err != nil || len(faults) > 0 {
		t.Errorf("%v, %v", faults, err)
	}
	if info, err := os.Stat(filepath.Join(root, "/var/log/mysql")); err != nil || !info.IsDir() {
		t.Error("a log directory is gone: its daemon would not start")
	}
}

func TestWhatIsErasedIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte(strings.Repeat("secret", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(path) // what the blocks hold can be read as long as the file is open
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := erase(path); err != nil {
		t.Fatal(err)
	}
	left := make([]byte, 6000)
	if n, err := open.Read(left); err != nil || n != 6000 || strings.Trim(string(left), "\x00") != "" {
		t.Errorf("%d bytes, %v: the content is still in the blocks", n, err)
	}
}
