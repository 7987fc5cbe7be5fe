package instance

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSettingsTravelInUserData(t *testing.T) {
	for _, s := range []Settings{
		{
			Stack:      "golden",
			Tier:       "db",
			Kind:       KindData,
			Parameters: "/goldsmith/golden",
			Clients:    []string{"10.0.1.0/24"},
		},
		{Stack: "blue-2", Tier: "web", Kind: KindService, Parameters: "/goldsmith/blue-2",
			Needs: []TierAddress{{Tier: "db", Address: "10.0.2.10", Port: 3306}}},
	} {
		text, err := s.UserData("")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "#cloud-config\n") {
			t.Errorf("cloud-init would not take %q", text)
		}
		var config map[string]any
		if err = yaml.Unmarshal(text, &config); err != nil ||
			!maps.Equal(config, map[string]any{"disable_ec2_metadata": false}) {
			t.Errorf("to cloud-init %q is %v, %v: one thing is due, and without effect", text, config, err)
		}
		got, err := ParseSettings(text)
		s.Version = SettingsVersion
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
}

func TestUserDataThatIsRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no settings", "#cloud-config\n{}\n", ErrNotConfigured.Error()},
		{"empty", "", ErrNotConfigured.Error()},
		{"no JSON", "#goldsmith: {", "#goldsmith line"},
		{"an older goldsmith's", `#goldsmith: {"stack":"a","tier":"web","parameters":"/x","database_host":"h"}`,
			"version 0"},
		{"a later version", `#goldsmith: {"version":3}`, "hint: deploy with the goldsmith that baked the image"},
		{"no tier", `#goldsmith: {"version":2,"stack":"a","parameters":"/x"}`, "tier"},
		{"no kind", `#goldsmith: {"version":2,"stack":"a","tier":"web","parameters":"/x"}`, "kind"},
		{"stack with a path",
			`#goldsmith: {"version":2,"stack":"../a","tier":"web","kind":"service","parameters":"/x"}`, "stack"},
		{"range with a host name",
			`#goldsmith: {"version":2,"stack":"a","tier":"db","kind":"data","parameters":"/x",` +
				`"clients":["everywhere"]}`,
			"clients"},
		{"data without clients", `#goldsmith: {"version":2,"stack":"a","tier":"db","kind":"data","parameters":"/x"}`,
			"clients"},
		{"need without an address",
			`#goldsmith: {"version":2,"stack":"a","tier":"web","kind":"service","parameters":"/x",` +
				`"needs":[{"tier":"db"}]}`,
			"needs"},
		{"need with a second line",
			`#goldsmith: {"version":2,"stack":"a","tier":"web","kind":"service","parameters":"/x",` +
				`"needs":[{"tier":"db","address":"a\nB=c"}]}`,
			"needs"},
		{"volume of a service",
			`#goldsmith: {"version":2,"stack":"a","tier":"web","kind":"service","parameters":"/x",` +
				`"data_volume":"vol-0123456789abcdef0"}`,
			"data_volume"},
		{"parameters", `#goldsmith: {"version":2,"stack":"a","tier":"web","kind":"service","parameters":"x/"}`,
			"parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseSettings([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if errors.Is(err, ErrNotConfigured) != (c.want == ErrNotConfigured.Error()) {
				t.Errorf("%v: is it that there are no settings?", err)
			}
		})
	}
}

// TestReportedAnswersAreBounded: whoever broke into an instance may write reports.
func TestReportedAnswersAreBounded(t *testing.T) {
	report := Report{Answers: []Answer{
		{Port: 0, Path: "/"},
		{Port: 70000, Path: "/"},
		{Port: 443, Path: "@192.0.2.9/"},
		{Port: 443, Path: "/a\x1b[2J"},
		{Port: 443, Path: "/good"},
	}}
	for range 100 {
		report.Answers = append(report.Answers, Answer{Port: 80, Path: "/more"})
	}
	line, err := ConsoleLine(ReportPrefix, report)
	if err != nil {
		t.Fatal(err)
	}
	found, ok := FindReport([]byte(line + "\n"))
	if !ok || len(found.Answers) != maxAnswers || found.Answers[0].Path != "/good" {
		t.Errorf("got %+v", found.Answers)
	}
}

func TestFindReport(t *testing.T) {
	line := func(r Report) string {
		text, err := ConsoleLine(ReportPrefix, r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first, second := line(Report{InstanceID: "i-0"}), line(Report{Ready: true, InstanceID: "i-1"})
	torn := second[:40] + "[   12.345678] nvme1n1: detected capacity change\r\n" + second[40:]
	for _, c := range []struct {
		name, console string
		found, ready  bool
	}{
		{"none", "Debian GNU/Linux 13\n", false, false},
		{"the last one counts", "boot\n" + first + "\r\nmore\n" + second + "\r\nlogin:", true, true},
		{"cut off", "boot\n" + second[:30], false, false},
		{"not ended", second, false, false},
		{"no JSON", "GOLDSMITH-READY soon\n", false, false},
		{"torn by the kernel", torn + "\n", false, false},
		{"torn, and repeated", second + "\n" + torn + "\n", true, true},
		{"the last one is not ended", second + "\n" + first, true, true},
		{"a lost character", strings.Replace(second, "i-1", "i-", 1) + "\n", false, false},
		{"without a checksum", `GOLDSMITH-READY {"ready":true,"checks":[]}` + "\n", false, false},
		{"begun by the kernel", "[    9.1] random: crng init done" + second + "\n", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			report, found := FindReport([]byte(c.console))
			if found != c.found || report.Ready != c.ready {
				t.Errorf("got %+v, %v", report, found)
			}
		})
	}
}

func TestFindWaiting(t *testing.T) {
	console := "boot\nGOLDSMITH-WAITING unit a (failed)\r\nmore\nGOLDSMITH-WAITING unit b (activating)\r\nend\n"
	if got := FindWaiting([]byte(console)); got != "unit b (activating)" {
		t.Errorf("got %q", got)
	}
	if got := FindWaiting([]byte("boot\n")); got != "" {
		t.Errorf("got %q of a console that says nothing", got)
	}
}

func TestWithoutRepeated(t *testing.T) {
	line, err := ConsoleLine(ReportPrefix, Report{})
	if err != nil {
		t.Fatal(err)
	}
	keys := HostKeys([]string{"ssh-ed25519 AAAA"})
	console := "boot\r\n\r\n" + strings.ReplaceAll(keys, "\n", "\r\n") + "\r\n\r\n" + line + "\r\noom-killer\r\n\r\n" +
		keys + "\r\n\r\n" + StandbyPrefix + "{}\r\nlogin:"
	if got := strings.ReplaceAll(WithoutRepeated(console), "\r", ""); got != "boot\noom-killer\nlogin:" {
		t.Errorf("got %q", got)
	}
	if got := WithoutRepeated("boot\n" + HostKeysBegin + "\ntorn"); got != "boot\n"+HostKeysBegin+"\ntorn" {
		t.Errorf("a block without an end: got %q", got)
	}
}
