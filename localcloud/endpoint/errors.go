package endpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// writeError answers in the service's own format, so that an SDK shows the message and does not retry. Status 400 is
// on purpose also for what went wrong here: SDKs take 500 for something that passes and try for minutes.
func writeError(w http.ResponseWriter, service string, err error) {
	var known *awsquery.Error
	if !errors.As(err, &known) {
		// What a program of the host said is for the log.
		known = awsquery.Faultf(apierror.UnsupportedOperation, "the local cloud cannot do that: %s", tool.Public(err))
	}
	status := cmp.Or(known.Status, http.StatusBadRequest)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if awsquery.JSONServices[service] {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", known.Code)
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": known.Code, "message": known.Message})
		return
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.WriteHeader(status)
	if service == "ec2" || service == "" {
		failure := awsquery.Element("Error", awsquery.Text("Code", known.Code), awsquery.Text("Message", known.Message))
		_, _ = w.Write(awsquery.Element("Response", awsquery.Element("Errors", failure),
			awsquery.Text("RequestID", awsquery.RequestID())).Bytes())
		return
	}
	failure := awsquery.Element("Error", awsquery.Text("Type", "Sender"), awsquery.Text("Code", known.Code),
		awsquery.Text("Message", known.Message))
	_, _ = w.Write(awsquery.Element("ErrorResponse", failure, awsquery.Text("RequestId", awsquery.RequestID())).Bytes())
}
