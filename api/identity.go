package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"sae/archive"
	"sae/archive/serving"
)

// Identity is who asks.
type Identity struct {
	Name       string // by which the archive and its ledger know who acts
	Tenant     string // whose units alone are there
	Roles      []archive.Role
	Operations []string // to which it is limited; those of its roles when there are none
	By         string   // what it was known by, for the log: names nobody
}

// identify finds out who asks: by the bearer token, which is an API key or one of an OpenID Connect
// provider, and without one by the certificate of the connection. Within the process the program says.
func (s *service) identify(ctx context.Context, header string, conn *tls.ConnectionState) (*Identity, error) {
	if who, ok := ctx.Value(localKey{}).(*Identity); ok {
		out := *who
		if out.Tenant = s.tenant(out.Tenant); s.views[out.Tenant] == nil {
			return nil, fmt.Errorf("tenant %q: %w", out.Tenant, archive.ErrNotFound)
		}
		return &out, nil
	}
	if header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "bearer") || token == "" {
			return nil, errAnonymous
		}
		if strings.HasPrefix(token, "sae_") {
			return s.byKey(token)
		}
		return s.byToken(ctx, token)
	}
	if conn != nil && len(conn.VerifiedChains) > 0 {
		return s.byCertificate(conn)
	}
	return nil, errAnonymous
}

func (s *service) byKey(secret string) (*Identity, error) {
	k, err := s.a.APIKeyOf(secret)
	if err != nil {
		return nil, err
	}
	return &Identity{Name: k.Name, Tenant: k.Tenant, Roles: k.Roles, Operations: k.Operations, By: "apikey:" + k.ID}, nil
}

func (s *service) byCertificate(conn *tls.ConnectionState) (*Identity, error) {
	subject := conn.PeerCertificates[0].Subject.String()
	for i, c := range s.config.Clients {
		if c.Subject == subject {
			return &Identity{Name: c.Name, Tenant: s.tenant(c.Tenant), Roles: rolesOf(c.Roles), By: fmt.Sprintf("certificate:%d", i)}, nil
		}
	}
	return nil, fmt.Errorf("certificate: its subject is not known: %w", errAnonymous)
}

// tenant is the code of a tenant; the first when none is named.
func (s *service) tenant(id string) string {
	if id == "" {
		return s.a.Config().Tenants[0].ID
	}
	return id
}

func rolesOf(words []string) (out []archive.Role) {
	for _, w := range words {
		out = append(out, archive.Role(w))
	}
	return out
}

func (s *service) byToken(ctx context.Context, token string) (*Identity, error) {
	for _, p := range s.providers {
		who, err := p.identify(ctx, token)
		if errors.Is(err, errOtherIssuer) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("token: %w: %w", err, errAnonymous)
		}
		who.Tenant = s.tenant(who.Tenant)
		return who, nil
	}
	return nil, errAnonymous
}

func (s *service) newProviders(issuers []serving.Issuer) error {
	for _, i := range issuers {
		p, err := newProvider(i)
		if err != nil {
			return err
		}
		s.providers = append(s.providers, p)
	}
	return nil
}

type identityKey struct{}

// identityOf is who asks, within a handler.
func identityOf(ctx context.Context) *Identity {
	who, _ := ctx.Value(identityKey{}).(*Identity)
	return who
}

// bearer is the header that names who asks.
const bearer = "Authorization"
