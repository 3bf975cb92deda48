import uapfp_dist as ufp

data = ufp.load("digits", train_share=0.3, outside_shares=(0.8, 0.05, 0.15))
victim = ufp.train("A", data.victim_set)


def sibling(images, labels, seed, device):  # your own training, from another seed
    return ufp.train("A", ufp.LabelledImages(images, labels, n_classes=10), seed=seed)


kit = ufp.enroll(victim, data, architecture="A", train=sibling, size="light", seed=0)
stolen = ufp.extract(victim, data.pool, attack="cloudleak", budget=1000, rounds=5)
for suspect in (stolen, ufp.train("C", data.homologous(0))):  # or "https://...", output="label"
    verdict = ufp.verify(kit, suspect, output="label")
    print(verdict.claim, verdict.p_value, verdict.queries)
