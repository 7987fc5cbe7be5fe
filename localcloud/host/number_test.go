package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"local", "a", "0", "test-2", "abcdefghij0123456789"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", "a/b", "/", "a.b", "-a", "A", "local\n", "\x1b[2J", "a b", "ä",
		"abcdefghij01234567890", strings.Repeat("a", 300),
	} {
		err := CheckName(name)
		if !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", name, err)
		} else if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 200 {
			t.Errorf("%q: the error is %q", name, err)
		}
	}
}

// cloudsIn is the configuration of a test's cloud, whose directories are beside those of others.
func cloudsIn(dir, name string) Config {
	return Config{Name: name, StateDir: filepath.Join(dir, "lib", name), RunDir: filepath.Join(dir, "run", name)}
}

// colliding are names of one and the same number.
func colliding(count int) []string {
	names := []string{"test", "nobodys"}
	for i := 0; len(names) < count; i++ {
		if name := fmt.Sprintf("c%d", i); numberOfName(name) == numberOfName("test") {
			names = append(names, name)
		}
	}
	return names[:count]
}

func addressOf(t *testing.T, config Config) netip.Addr {
	t.Helper()
	addresses, err := AddressesOf(config)
	if err != nil {
		t.Fatal(err)
	}
	return addresses.API.Addr()
}

func take(t *testing.T, config Config) uint32 {
	t.Helper()
	number, err := takeNumber(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return number
}

func TestNamesShareNoAddress(t *testing.T) {
	dir := t.TempDir()
	if numberOfName("test") != numberOfName("nobodys") {
		t.Fatal("the names do not collide: the test shows nothing")
	}
	test, nobodys := cloudsIn(dir, "test"), cloudsIn(dir, "nobodys")
	if addressOf(t, test) != addressOf(t, nobodys) {
		t.Error("without any cloud, a name has the number that follows from it")
	}
	first := take(t, test)
	expected := addressOf(t, nobodys)
	second := take(t, nobodys)
	if first != numberOfName("test") || second == first {
		t.Errorf("the numbers are %d and %d", first, second)
	}
	// The address that env printed before the cloud was up is the cloud's; and each number is found again.
	if got := addressOf(t, nobodys); got != expected || got != addressesOf(second).API.Addr() {
		t.Errorf("before it was up its address was %s, and now %s of number %d", expected, got, second)
	}
	if again := take(t, test); again != first {
		t.Errorf("the first has number %d now", again)
	}
	if err := forget(t.Context(), test); err != nil {
		t.Fatal(err)
	}
	if got := take(t, nobodys); got != second {
		t.Errorf("the second has number %d after the first is gone", got)
	}
	if got := take(t, cloudsIn(dir, "test")); got != first {
		t.Errorf("what is free again is not given again: %d", got)
	}
}

func TestNumbersTakenAtOnce(t *testing.T) {
	dir := t.TempDir()
	names := colliding(12)
	got := make([]uint32, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			number, err := takeNumber(context.Background(), cloudsIn(dir, name))
			if err != nil {
				t.Error(err)
			}
			got[i] = number
		})
	}
	all.Wait()
	if different := slices.Compact(slices.Sorted(slices.Values(got))); len(different) != len(names) {
		t.Errorf("%d clouds have the numbers %v", len(names), got)
	}
}

// Clouds that are older than the record of numbers keep their addresses.
func TestOlderCloudsKeepTheirAddress(t *testing.T) {
	dir := t.TempDir()
	older := cloudsIn(dir, "nobodys")
	if err := durable.WriteFile(filepath.Join(older.StateDir, "host.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := take(t, cloudsIn(dir, "test")); got == numberOfName("nobodys") {
		t.Error("a new cloud has the address of one that is there")
	}
	if got := take(t, older); got != numberOfName("nobodys") {
		t.Errorf("it has number %d, not %d", got, numberOfName("nobodys"))
	}
}

func TestLocalIsTheFirst(t *testing.T) {
	dir := t.TempDir()
	if got := addressOf(t, cloudsIn(dir, "local")).String(); got != "127.66.0.1" {
		t.Errorf("the cloud local has its API on %s", got)
	}
	for _, name := range []string{"a", "test", "another-cloud"} {
		if n := take(t, cloudsIn(dir, name)); n < 1 || n > lastNumber {
			t.Errorf("%s has number %d", name, n)
		}
	}
}

func TestNumbersRunOut(t *testing.T) {
	dir := t.TempDir()
	all := numbers{}
	for i := range uint32(lastNumber) {
		all[fmt.Sprintf("n%d", i)] = i + 1
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(numbersPath(cloudsIn(dir, "x")), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := AddressesOf(cloudsIn(dir, "one-more")); err == nil || !strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v", err)
	}
	if _, err := AddressesOf(cloudsIn(dir, "n7")); err != nil {
		t.Error(err)
	}
}

func TestBadRecordOfNumbers(t *testing.T) {
	for _, text := range []string{"", "x", `{"../x": 1}`, `{"test": 251}`, `{"test": -1}`} {
		config := cloudsIn(t.TempDir(), "test")
		if err := durable.WriteFile(numbersPath(config), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := takeNumber(t.Context(), config); err == nil || !strings.Contains(err.Error(), "numbers.json") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A new cloud goes where nobody listens; one that has an address already says who is in its way.
func TestAddressesAreFree(t *testing.T) {
	dir := t.TempDir()
	config := cloudsIn(dir, "listened-on")
	addresses := addressesOf(numberOfName(config.Name))
	listener, err := net.Listen("tcp4", addresses.API.String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := take(t, config); got == numberOfName(config.Name) {
		t.Error("a new cloud has an address where another program listens")
	}
	err = checkListening(addresses)
	if err == nil || !strings.Contains(err.Error(), addresses.API.String()) ||
		!strings.Contains(err.Error(), "hint: ") {
		t.Errorf("got %v", err)
	}
}

// Nothing is removed for a name that is none, nor outside of a cloud's own directories.
func TestBadNamesRemoveNothing(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"lib/local/host.json", "run/local/x", "libx/x", "runx/x", "x/x"} {
		if err := durable.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, dir)
	for _, name := range []string{
		"", ".", "..", "../libx", "../../x", "local/../local", "LOCAL", strings.Repeat("x", 300),
	} {
		config := cloudsIn(dir, name)
		_, opened := Open(t.Context(), config)
		_, addressed := AddressesOf(config)
		_, looked := Exists(config)
		for verb, err := range map[string]error{
			"open":      opened,
			"addresses": addressed,
			"exists":    looked,
			"clear":     Clear(t.Context(), config),
			"destroy":   Destroy(t.Context(), config),
		} {
			if !errors.Is(err, ErrBadName) {
				t.Errorf("%s %q: %v", verb, name, err)
			}
		}
	}
	if after := files(t, dir); after != before {
		t.Errorf("files changed from\n%s\nto\n%s", before, after)
	}
}

// A link in place of a cloud's directory is somebody's mistake, or worse: what it leads to stays.
func TestForgetFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "other", "precious")
	config := cloudsIn(dir, "linked")
	if err := errors.Join(
		durable.WriteFile(precious, nil, 0o600),
		os.MkdirAll(filepath.Dir(config.StateDir), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(precious), config.StateDir); err != nil {
		t.Fatal(err)
	}
	if err := forget(
		t.Context(),
		config,
	); err == nil || !strings.Contains(err.Error(), "symbolic link") ||
		!exists(precious) {
		t.Errorf("got %v; what it leads to is there: %v", err, exists(precious))
	}
}

func TestExists(t *testing.T) {
	dir := t.TempDir()
	config := cloudsIn(dir, "test")
	if there, err := Exists(config); there || err != nil {
		t.Errorf("a cloud that never was: %v, %v", there, err)
	}
	take(t, config)
	if there, err := Exists(config); !there || err != nil {
		t.Errorf("a cloud that is: %v, %v", there, err)
	}
}
