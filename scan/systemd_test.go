package main

import (
	"slices"
	"testing"
)

func TestExposure(t *testing.T) {
	const list = `[{"set":true,"name":"PrivateTmp=","json_field":"PrivateTmp","description":"","exposure":null},` +
		`{"set":false,"name":"PrivateNetwork=","json_field":"PrivateNetwork","description":"Service has access to ` +
		`the host's network","exposure":"0.5"},{"set":null,"name":"SupplementaryGroups=",` +
		`"json_field":"SupplementaryGroups","description":"","exposure":"0.0"}]`
	level, open, err := parseExposure("→ Overall exposure level for mariadb.service: 8.8 EXPOSED 🙁\n" + list)
	if err != nil || level != 8.8 || !slices.Equal(open, []string{"PrivateNetwork 0.5"}) {
		t.Errorf("got %v, %v, %v", level, open, err)
	}
	for name, text := range map[string]string{
		"empty":     "",
		"no level":  "Unit x.service not found, cannot analyze.\n",
		"no number": "→ Overall exposure level for x.service: none SAFE\n[]",
		"no list":   "→ Overall exposure level for x.service: 1.0 OK\n",
	} {
		if _, _, err := parseExposure(text); err == nil {
			t.Errorf("%s: it is taken for a judgement", name)
		}
	}
}
