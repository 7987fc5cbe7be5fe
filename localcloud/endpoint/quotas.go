package endpoint

import (
	"encoding/json"
	"net/http"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// answerQuotas answers calls of Service Quotas, which knows the quotas that the cloud's manners have.
func (s *Server) answerQuotas(c *awsquery.Call) (*awsquery.Answer, error) {
	if c.Action() != "GetServiceQuota" {
		return nil, awsquery.Faultf(apierror.UnsupportedOperation, "the local cloud does not answer %s", c)
	}
	var asked struct{ ServiceCode, QuotaCode string }
	if err := json.Unmarshal(c.Body, &asked); err != nil || asked.ServiceCode == "" || asked.QuotaCode == "" {
		return nil, awsquery.Faultf(apierror.IllegalArgument, "ServiceCode and QuotaCode are needed")
	}
	value, ok := s.config.Manners.Quota(asked.QuotaCode)
	if !ok {
		return nil, awsquery.Faultf(apierror.NoSuchResource, "there is no quota %.100q", asked.QuotaCode)
	}
	body, err := json.Marshal(map[string]any{"Quota": map[string]any{
		"ServiceCode": asked.ServiceCode,
		"QuotaCode":   asked.QuotaCode,
		"Value":       float64(value),
		"Adjustable":  true,
	}})
	if err != nil {
		return nil, err
	}
	return &awsquery.Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}},
		Body:   body,
	}, nil
}
