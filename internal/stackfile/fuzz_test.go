package stackfile

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzRead holds what every input has to get: a file that is complete, or faults that say where.
func FuzzRead(f *testing.F) {
	for _, path := range []string{"testdata/full.hcl", "../../examples/stack.hcl"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{
		"",
		"\xff",
		"\xef\xbb\xbfname = \"a\"",
		"name = 1e999999999999",
		"name = -1e-999999999",
		"name = -\"a\"",
		"name = null",
		"name = \"\\u0000\"",
		"name = " + strings.Repeat("[", 2000),
		"name = " + strings.Repeat("-", 2000) + "1",
		strings.Repeat("network {\n", 2000),
		"tier \"web\" {\n  count = 2147483647\n  tags = { \"${a}\" = 1, true = 2, null = 3, (b) = 4 }\n}",
		"tier \"db\" {\n  service_address = \"0.0.0.0\"\n  user_data_file = \"/dev/zero\"\n  data_volume {\n" +
			"    iops = -2147483648\n    throughput = 2147483647\n  }\n}",
		"network {\n  cidr = \"::ffff:10.0.0.0/112\"\n  vpc_tags = {}\n}",
		"deploy {\n  bake_time = \"2562047h47m16s\"\n  drain_time = \"2562047h47m16s\"\n  checkpoints = []\n}",
		"tier \"db\" {\n  rule {\n    cidr = \"::/0\"\n    protocol = \"icmp\"\n  }\n  rule {}\n  rule {}\n}",
		"name = <<EOT\n%{ for a in b }${a}%{ endfor }\nEOT\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		file, err := parse("testdata/fuzz.hcl", source)
		if err == nil {
			assertComplete(t, source, file)
			return
		}
		var faults Faults
		if file != nil || !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("%q: got %+v, %v, want faults", source, file, err)
		}
		assertOrdered(t, source, faults)
		if _, again := parse("testdata/fuzz.hcl", source); again == nil || again.Error() != err.Error() {
			t.Errorf("%q: once %v, then %v", source, err, again)
		}
	})
}

func assertComplete(t *testing.T, source []byte, file *File) {
	t.Helper()
	if file.Name == "" || file.Web.Count < 1 || file.Web.Scaling == "" ||
		!file.Network.Existing() && !file.Database.ServiceAddress.IsValid() {
		t.Errorf("%q is good, and is not complete: %+v", source, file)
	}
	if _, err := file.MarshalJSON(); err != nil {
		t.Errorf("%q: %v", source, err)
	}
}

// assertOrdered wants each fault to have a place, and the faults to be in the order of their places.
func assertOrdered(t *testing.T, source []byte, faults Faults) {
	t.Helper()
	for i, d := range faults {
		if d.Subject == nil || d.Subject.Start.Line < 1 || d.Summary == "" || d.Detail == "" ||
			i > 0 && d.Subject.Start.Byte < faults[i-1].Subject.Start.Byte {
			t.Errorf("%q: fault %d: %+v", source, i, d)
		}
	}
}
