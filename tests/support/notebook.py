import uapfp_dist as ufp

data = ufp.load("digits")  # or ufp.load("imagefolder", "MY_IMAGES")
victim = ufp.train("A", data.victim_set)  # or ufp.wrap(my_module, n_classes=10)
uap = ufp.uap(victim, data.victim_set, xi=2.4)
print(f"one vector changes {uap.fooling_rate:.0%} of the victim's labels")

stolen = [ufp.extract(victim, data.pool, attack="jacobian", budget=900, seed=i) for i in range(6)]
independent = [ufp.train("C", data.homologous(i)) for i in range(25)]
fingerprint = ufp.Fingerprint("uap", n_points=60, n_views=20)
fingerprint.fit(victim, data, stolen=stolen[:5], independent=independent[:5])
negatives = [fingerprint.score(model) for model in independent[5:24]]

models = {"stolen": stolen[5], "pruned": ufp.prune(stolen[5], 0.4), "independent": independent[24]}
for name, model in models.items():
    score = fingerprint.score(model)
    print(f"{name}: score {score:.2f}, p {ufp.conformal_p(score, negatives):.2f}")
