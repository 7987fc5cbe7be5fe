package api

import (
	"net/netip"
	"time"
)

// setState moves an instance on; a terminated one stays so. It is called from work that nobody waits for: that the
// state could not be written is told in the log, and the next start sees what is really there.
func (s *Server) setState(id, state, reason string) {
	var gone instanceRecord
	err := s.update(func(o *overlay) {
		record := o.Instances[id]
		if record == nil || record.State == "terminated" {
			return
		}
		record.State, record.Reason = state, reason
		if state == "stopped" || state == "terminated" {
			record.Public = netip.Addr{}
		}
		if state == "terminated" {
			record.Ended = time.Now()
		}
		if state != "pending" && state != "running" {
			gone = *record
		}
	})
	s.instanceGone(gone)
	if err != nil {
		s.config.Log.Error("keep an instance's state", "instance", id, "state", state, "error", err)
	}
}
