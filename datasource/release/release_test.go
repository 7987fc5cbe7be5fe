package release

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// valid is a configuration without a fault; change says what is different.
func valid(change map[string]any) map[string]any {
	config := map[string]any{
		"stack":       "golden",
		"region":      "us-east-1",
		"access_key":  "a",
		"secret_key":  "b",
		"max_retries": 1,
	}
	maps.Copy(config, change)
	return config
}

func TestConfigureNamesTheAttribute(t *testing.T) {
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"stack": ""}, "stack"},
		{map[string]any{"stack": "Golden!"}, "stack"},
		{map[string]any{"secret_key": ""}, "secret_key"},
		{map[string]any{"max_retries": -1}, "max_retries"},
		{map[string]any{"custom_endpoint_ec2": "nowhere"}, "custom_endpoint_ec2"},
		{map[string]any{"no_such_option": 1}, "no_such_option"},
	} {
		err := new(Datasource).Configure(valid(c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error that names %s", c.change, err, c.want)
		}
	}
}

// execute runs the data source against an SSM that has this parameter, or none if it is empty.
func execute(t *testing.T, parameter string) (map[string]string, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Amz-Target") != "AmazonSSM.GetParameter" ||
			!strings.Contains(string(asked), `"/goldsmith/golden/release"`) {
			t.Errorf("asked for %s: %s", r.Header.Get("X-Amz-Target"), asked)
		}
		if parameter == "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"ParameterNotFound"}`)
			return
		}
		fmt.Fprintf(w, `{"Parameter":{"Value":%q}}`, parameter)
	}))
	defer server.Close()
	d := new(Datasource)
	if err := d.Configure(valid(map[string]any{"custom_endpoint_ec2": server.URL})); err != nil {
		t.Fatal(err)
	}
	value, err := d.Execute()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, each := range value.AsValueMap() {
		out[name] = each.AsString()
	}
	return out, nil
}

func TestExecute(t *testing.T) {
	got, err := execute(
		t,
		`{"name":"r1","db":"ami-1","web":"ami-2","created":"2026-11-23T10:11:12+02:00","revision":"abc"}`,
	)
	want := map[string]string{
		"name":     "r1",
		"db_ami":   "ami-1",
		"web_ami":  "ami-2",
		"created":  "2026-11-23T08:11:12Z",
		"revision": "abc",
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for parameter, want := range map[string]string{"": "hint:", "{": "/goldsmith/golden/release"} {
		if _, err := execute(
			t,
			parameter,
		); err == nil || !strings.Contains(err.Error(), "release") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("parameter %q: got %v, want an error with %s", parameter, err, want)
		}
	}
}
