import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Date;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.ASN1Encodable;
import org.bouncycastle.asn1.ASN1EncodableVector;
import org.bouncycastle.asn1.ASN1Primitive;
import org.bouncycastle.asn1.ASN1Sequence;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.tsp.ArchiveTimeStamp;
import org.bouncycastle.asn1.tsp.ArchiveTimeStampChain;
import org.bouncycastle.asn1.tsp.EvidenceRecord;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampToken;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;

/**
 * Verifies an RFC 4998 evidence record with BouncyCastle: every chain against
 * the members of the data object group, every renewal, and the signature and
 * certificate path of every time-stamp.
 *
 * Usage: VerifyRecord RECORD ROOTS MEMBER... prints OK or the reason and exits
 * with 0 or 1. VerifyRecord - reads such arguments from standard input instead,
 * one request per line, separated by tabs, and answers each with a line.
 */
public class VerifyRecord {
    private static DigestCalculatorProvider digests;

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        digests = new JcaDigestCalculatorProviderBuilder().setProvider("BC").build();
        if (args.length == 1 && args[0].equals("-")) {
            BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
            for (String line; (line = in.readLine()) != null;) {
                System.out.println(answer(line.split("\t")));
                System.out.flush();
            }
            return;
        }
        String answer = args.length < 3 ? "usage: VerifyRecord RECORD ROOTS MEMBER..." : answer(args);
        System.out.println(answer);
        System.exit(answer.equals("OK") ? 0 : 1);
    }

    /** Gives OK or the reason, on one line. */
    private static String answer(String[] args) {
        try {
            List<ERSData> members = new ArrayList<>();
            for (String name : Arrays.asList(args).subList(2, args.length)) {
                members.add(new ERSByteData(Files.readAllBytes(Path.of(name))));
            }
            verify(Files.readAllBytes(Path.of(args[0])), Files.readAllBytes(Path.of(args[1])), members);
            return "OK";
        } catch (Exception e) {
            return "refused: " + String.valueOf(e).replaceAll("\\s+", " ");
        }
    }

    private static void verify(byte[] der, byte[] roots, List<ERSData> members) throws Exception {
        ERSData group = members.size() == 1 ? members.get(0) : new ERSDataGroup(members);
        ASN1Sequence record = ASN1Sequence.getInstance(ASN1Primitive.fromByteArray(der));
        ASN1Sequence chains = ASN1Sequence.getInstance(record.getObjectAt(record.size() - 1));
        // BouncyCastle compares the group with the last chain only, so each chain
        // is made the last one in turn.
        for (int n = 1; n <= chains.size(); n++) {
            new ERSEvidenceRecord(firstChains(record, chains, n), digests).validatePresent(group, new Date());
        }
        Set<TrustAnchor> anchors = new HashSet<>();
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (Certificate c : factory.generateCertificates(new ByteArrayInputStream(roots))) {
            anchors.add(new TrustAnchor((X509Certificate) c, null));
        }
        Date before = new Date(0);
        for (ASN1Encodable chain : chains) {
            for (ArchiveTimeStamp a : ArchiveTimeStampChain.getInstance(chain).getArchiveTimestamps()) {
                TimeStampToken token = new TimeStampToken(a.getTimeStamp());
                verifyToken(token, anchors);
                Date time = token.getTimeStampInfo().getGenTime();
                if (!time.after(before)) {
                    throw new Exception("time-stamps are not in ascending order");
                }
                before = time;
            }
        }
    }

    private static EvidenceRecord firstChains(ASN1Sequence record, ASN1Sequence chains, int n) {
        ASN1EncodableVector fields = new ASN1EncodableVector();
        for (int i = 0; i < record.size() - 1; i++) {
            fields.add(record.getObjectAt(i));
        }
        fields.add(new DERSequence(Arrays.copyOf(chains.toArray(), n)));
        return EvidenceRecord.getInstance(new DERSequence(fields));
    }

    @SuppressWarnings("unchecked")
    private static void verifyToken(TimeStampToken token, Set<TrustAnchor> anchors) throws Exception {
        JcaX509CertificateConverter converter = new JcaX509CertificateConverter().setProvider("BC");
        Collection<X509CertificateHolder> signer = token.getCertificates().getMatches(token.getSID());
        if (signer.size() != 1) {
            throw new Exception("token holds " + signer.size() + " certificates of its signer");
        }
        X509Certificate leaf = converter.getCertificate(signer.iterator().next());
        token.validate(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(leaf));

        List<X509Certificate> carried = new ArrayList<>();
        for (Object c : token.getCertificates().getMatches(null)) {
            carried.add(converter.getCertificate((X509CertificateHolder) c));
        }
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(leaf);
        PKIXBuilderParameters path = new PKIXBuilderParameters(anchors, target);
        path.setRevocationEnabled(false);
        path.setDate(token.getTimeStampInfo().getGenTime());
        path.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(carried)));
        CertPathBuilder.getInstance("PKIX").build(path);
    }
}
