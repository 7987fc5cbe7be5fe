package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// apiError is an error as AWS tells it: a code that programs know and a message for people.
type apiError struct {
	code, message string
	status        int // 400 if it is not said
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fault(code, format string, args ...any) error {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

func noInstance(id string) error {
	return fault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

// jsonServices speak JSON; all others that are known here speak the query protocol.
var jsonServices = map[string]bool{"ssm": true, "ebs": true}

// writeError answers in the service's own format, so that an SDK shows the message and does not retry. Status 400 is
// on purpose also for what went wrong here: SDKs take 500 for something that passes and try for minutes.
func writeError(w http.ResponseWriter, service string, err error) {
	var known *apiError
	if !errors.As(err, &known) {
		// What a program of the host said is for the log.
		known = &apiError{code: "LocalCloudFailure", message: host.Public(err)}
	}
	status := cmp.Or(known.status, http.StatusBadRequest)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if jsonServices[service] {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", known.code)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": known.code, "message": known.message})
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	if service == "ec2" || service == "" {
		failure := element("Error", text("Code", known.code), text("Message", known.message))
		w.Write(element("Response", element("Errors", failure), text("RequestID", requestID())).bytes())
		return
	}
	failure := element("Error", text("Type", "Sender"), text("Code", known.code), text("Message", known.message))
	w.Write(element("ErrorResponse", failure, text("RequestId", requestID())).bytes())
}
