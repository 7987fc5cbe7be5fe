//go:build acceptance

package deploys

import (
	"encoding/json"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/test/chromium"
)

// assertReport wants the last deployment, which printed out, to have left a report of what it did, with these words in
// it, and a page that can be read in a browser.
func assertReport(t *testing.T, out string, words ...string) {
	t.Helper()
	var records []struct {
		ID, Result string
		From, To   struct{ DB, Web string }
		Steps      []struct{ Name string }
	}
	history := rig.Must(t, rig.Goldsmith(), "history", "--stack", rig.StackName, "--json")
	rig.Decode(t, strings.NewReader(history), &records)
	last := records[0]
	path := filepath.Join(os.Getenv("HOME"), ".goldsmith", "reports", rig.StackName+"-"+last.ID+".html")
	if !strings.Contains(out, "report: "+path+"\n") {
		t.Errorf("the output does not say that the report is %s:\n%s", path, rig.End(t, out))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := html.UnescapeString(string(text))
	words = append(words, last.ID, last.Result, last.From.DB, last.From.Web, last.To.DB, last.To.Web)
	for _, step := range last.Steps {
		words = append(words, `<th scope="row">`+step.Name+`</th>`)
	}
	words = append(words, networkIDs(t)...)
	words = append(words, *rig.Tier(t, "db").InstanceId, *rig.Tier(t, "web").InstanceId)
	for _, word := range words {
		if word == "" || !strings.Contains(page, word) {
			t.Errorf("%s does not say %q", path, word)
		}
	}
	if strings.Contains(page, "is not known:") {
		t.Errorf("%s does not know all of the network", path)
	}
	assertSamples(t, path, page)
	assertPictures(t, path, last.ID)
}

func networkIDs(t *testing.T) []string {
	t.Helper()
	var network map[string]json.RawMessage
	shown := rig.Must(t, rig.Goldsmith(), "network", "show", "--stack", rig.StackName)
	rig.Decode(t, strings.NewReader(shown), &network)
	var ids []string
	for _, part := range []string{
		"vpc", "public_subnet", "private_subnet", "internet_gateway", "nat_gateway", "web_sg", "db_sg",
	} {
		var id string
		rig.Decode(t, strings.NewReader(string(network[part])), &id)
		ids = append(ids, id)
	}
	return ids
}

func assertSamples(t *testing.T, path, page string) {
	t.Helper()
	const enough = 5 // of two a second
	answered := regexp.MustCompile(`(\d+) of (\d+) samples were answered`).FindStringSubmatch(page)
	if answered == nil {
		t.Fatalf("%s has no samples", path)
	}
	if samples, err := strconv.Atoi(answered[2]); err != nil || samples < enough || answered[1] == "0" {
		t.Errorf("%s: %s, want at least %d, and not none of them answered", path, answered[0], enough)
	}
}

// assertPictures looks at the page as a browser shows it, narrow and wide.
func assertPictures(t *testing.T, path, id string) {
	t.Helper()
	axe, err := os.ReadFile(filepath.Join(rig.Repository, ".tools", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("%v\nhint: make .tools/axe/installed", err)
	}
	b := chromium.Start(t)
	for width, scheme := range map[int]string{360: "light", 1600: "dark"} {
		// Timeline, network and health; the operator and the internet may talk to the web tier, and that to the
		// database.
		if seen := b.Judge(path, width, scheme, string(axe)); seen.Pictures != 3 || seen.Arrows != 3 {
			t.Errorf("%s, %d wide: %d pictures and %d arrows, want 3 of each", path, width, seen.Pictures, seen.Arrows)
		}
		// For people to look at.
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			b.Screenshot(filepath.Join(dir, fmt.Sprintf("%s-%d.png", id, width)))
		}
	}
}
