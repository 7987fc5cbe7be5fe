package awsconfig

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAccount(t *testing.T) {
	alone(t)
	const begin = "<GetCallerIdentityResponse><GetCallerIdentityResult>"
	const end = "</GetCallerIdentityResult></GetCallerIdentityResponse>"
	answers := map[string]func(http.ResponseWriter){
		"AWS account 123456789012, eu-central-1, at ": func(w http.ResponseWriter) {
			fmt.Fprint(w, begin+"<Account>123456789012</Account>"+end)
		},
		"AWS account unknown (AccessDenied), eu-central-1, at ": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(
				w,
				`<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`,
			)
		},
		"AWS account unknown (no answer), eu-central-1, at ": func(w http.ResponseWriter) {
			fmt.Fprint(w, begin+end)
		},
	}
	for want, answer := range answers {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			calls := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls++
				if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "GetCallerIdentity" {
					t.Errorf("asked for %v, %v", r.Form, err)
				}
				answer(w)
			}))
			conf, err := Load(
				t.Context(),
				Options{Region: "eu-central-1", AccessKey: "a", SecretKey: "b", Endpoint: server.URL},
			)
			if err != nil {
				t.Fatal(err)
			}
			if got := Account(t.Context(), conf); got != want+server.URL || calls != 1 {
				t.Errorf("got %q after %d calls, want %q after one", got, calls, want+server.URL)
			}
			server.Close()
			unknown := "AWS account unknown (no answer), eu-central-1, at " + server.URL
			if got := Account(t.Context(), conf); got != unknown {
				t.Errorf("got %q, want %q", got, unknown)
			}
		})
	}
}
