//go:build acceptance

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/test/chromium"
)

// TestLongValuesBreakNothing looks at the page in a browser, on a phone and on a screen, with values as long as the
// application takes them.
func TestLongValuesBreakNothing(t *testing.T) {
	h, fake := application(t)
	name := strings.Repeat("W", 50)
	email := strings.Repeat("m", 64) + "@" + strings.Repeat("w", 20) + ".example" + ".com"
	fake.users = append(fake.users, user{ID: 12345678, Username: name, Email: email, CreatedAt: time.Now()})
	dir := t.TempDir()
	style := request(h, "GET", "/style.css", "").Body.Bytes()
	form := "username=" + strings.Repeat("W", 300) + "&email=" + strings.Repeat("m", 300)
	pages := map[string]string{
		"users": request(h, "GET", "/", "", "Accept", browser).Body.String(),
		"form":  request(h, "POST", "/users", form, "Content-Type", formType, "Accept", browser).Body.String(),
	}
	b := chromium.Start(t)
	for name, page := range pages {
		if !strings.Contains(page, email) {
			t.Fatalf("%s does not show the long email:\n%s", name, page)
		}
		file := filepath.Join(dir, name+".html")
		page = strings.Replace(page, `<link rel="stylesheet" href="/style.css">`, "<style>"+string(style)+"</style>", 1)
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{320, 390, 1280} {
			b.Open(file, width, "light")
			var seen struct {
				Wide, Table int
				Beyond      []string
			}
			b.Evaluate(`(() => {
				const root = document.documentElement, table = document.querySelector(".scroll");
				const beyond = [...document.querySelectorAll(
					".tier, .tier *, h1, h2, p, label, input, button, .scroll")]
					.filter(element => element.getBoundingClientRect().right > root.clientWidth + 0.5)
					.map(element => element.outerHTML.slice(0, 80));
				return {Wide: root.scrollWidth - root.clientWidth, Table: table.scrollWidth - table.clientWidth,
					Beyond: beyond};
			})()`, &seen)
			if seen.Wide > 0 || len(seen.Beyond) > 0 || width == 1280 && seen.Table > 0 {
				t.Errorf("%s, %d wide: the page is %d too wide, its table %d; beyond the edge: %q",
					name, width, seen.Wide, seen.Table, seen.Beyond)
			}
			// For people to look at.
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				b.Screenshot(filepath.Join(dir, fmt.Sprintf("app-%s-%d.png", name, width)))
			}
		}
	}
}
